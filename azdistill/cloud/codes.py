"""Every code that work on Azure can end with, and what it means."""

from __future__ import annotations

CODES: dict[str, str] = {
    # Connecting, preparing, planning, submitting: 401-429.
    "AZD401": "Nobody is logged in to Azure.",
    "AZD402": "Azure refused the credentials.",
    "AZD403": "Azure does not permit it: a role is missing.",
    "AZD404": "What was asked for does not exist on Azure, a workspace for example.",
    "AZD405": "Something was changed on Azure at the same time.",
    "AZD406": "Azure asks to wait: too many requests, or a quota of them.",
    "AZD407": "A service of Azure failed, or answered with something unreadable.",
    "AZD408": "A service of Azure did not answer.",
    "AZD409": "Azure refused what was sent.",
    "AZD410": "The Azure ML SDK refused what it was given.",
    "AZD411": "No workspace is named, or config.json cannot be read.",
    "AZD412": "There is no such cloud.",
    "AZD413": "--auth does not know the way to log in, or the way lacks its variables.",
    "AZD414": "The Azure ML SDK cannot be imported.",
    "AZD415": "A key is kept in a variable of this machine, which a job does not have.",
    "AZD416": "An address of this machine, which a job cannot reach.",
    "AZD417": "A path of this machine, given as text, which is not uploaded.",
    "AZD418": "There is no such profile in azdistill.yml.",
    "AZD419": "A profile names a step that the pipeline does not have.",
    "AZD420": "The run may take more GPU hours than its ceiling, or nobody knows how many.",
    "AZD421": "The workspace has no such compute.",
    "AZD422": "The compute does not fit what a step asks for.",
    "AZD423": "The environment is not registered in the workspace.",
    "AZD425": "Nobody can be asked whether to submit.",
    "AZD426": "The quota of the region does not hold what a step asks for.",
    # Following: 430-449.
    "AZD430": "The workspace has no such run.",
    "AZD431": "Several runs begin with that name.",
    "AZD432": "Nothing was submitted from this folder, and no run is named.",
    "AZD433": "A run on Azure failed.",
    "AZD434": "A run on Azure was canceled.",
    "AZD437": "The run has no such step.",
    "AZD442": "A service did not answer for a quarter of an hour while a run was followed.",
    "AZD443": "A run has not ended in the time that was given.",
    "AZD445": "A datastore is no blob storage.",
    "AZD448": "A run on Azure is no longer watched; it goes on.",
    # Schedules: 450-469.
    # Endpoints and doctor: 470-489.
    "AZD470": "Nothing is known of that instance type.",
    "AZD471": "The config.json of a model cannot be read, or lacks what memory is worked out from.",
    "AZD472": "The teacher is hosted elsewhere and used by a connection: there is no endpoint to make.",
    "AZD473": "How much memory the teacher takes is not known: parameters or architecture are missing.",
    "AZD474": "No instance type that is known holds the teacher under that load.",
    "AZD480": "A time to keep an endpoint for that cannot be read.",
    # The client, assets, models: 490-499.
}
