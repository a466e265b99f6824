"""A workspace of Azure Machine Learning on loopback, for tests without a subscription.

>>> with Workspace(folder) as ws:              # TLS on 127.0.0.1, blobs in `folder`
...     ws.client().jobs.create_or_update(job)  # an unmodified azure.ai.ml.MLClient
...     ws.requests, ws.violations, ws.store["jobs"]
"""

from .faults import Fault
from .messages import ArmError, Request, Response
from .record import Recorded
from .store import Store
from .workspace import Workspace

__all__ = ["ArmError", "Fault", "Recorded", "Request", "Response", "Store", "Workspace"]
