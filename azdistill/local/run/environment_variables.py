"""What steps see of the caller's environment: few of its variables, and the secrets among these are hidden."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase

from azdistill import redact

#: What a step sees of the caller's environment: what finds programs, files, proxies, caches and devices. What may be a
#: credential among it (Hugging Face's token, which downloads need; a proxy's password) is hidden from all text.
PASSED = (
    *("HOME", "USER", "LOGNAME", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_*", "XDG_CACHE_HOME"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HF_*", "TRANSFORMERS_*", "TOKENIZERS_PARALLELISM", "CUDA_*", "NVIDIA_*", "OMP_*", "MKL_*", "TORCH*"),
)
#: A switch such as HF_HUB_DISABLE_IMPLICIT_TOKEN holds none.
_SECRET = re.compile(r"(?!.*_DISABLE_).*_(TOKEN|KEY|SECRET|PASSWORD|CREDENTIALS?|PAT)", re.IGNORECASE)
_PROXY = re.compile(r".*_proxy", re.IGNORECASE)


def passed_on() -> dict[str, str]:
    """The caller's variables that steps see. Those that may hold a secret are hidden from all text."""
    passed = {name: value for name, value in os.environ.items() if any(fnmatchcase(name, p) for p in PASSED)}
    for name, value in passed.items():
        if _SECRET.fullmatch(name):
            redact.register(value)
        elif _PROXY.fullmatch(name) and "@" in value:
            redact.register(value.rpartition("@")[0].rpartition("//")[2])
    return passed


def without_secrets() -> dict[str, str]:
    """What a program needs that a step is started with, and nothing that may be a credential."""
    passed = {name: value for name, value in passed_on().items() if not _SECRET.fullmatch(name)}
    return {"PATH": os.environ.get("PATH", os.defpath), **passed}
