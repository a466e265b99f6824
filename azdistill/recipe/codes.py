"""Every code that a problem with a recipe can have, and what it means."""

from __future__ import annotations

CODES: dict[str, str] = {
    "AZD202": "The file holds no recipe: it is not a mapping.",
    "AZD203": "A key that a recipe does not have there.",
    "AZD204": "A key that has to be there is missing.",
    "AZD205": "A value of the wrong type, out of range, or at odds with another.",
    "AZD206": "An environment variable that a value names is not set.",
    "AZD207": "A key written out, or a reference that is none.",
    "AZD208": "A file that the recipe names does not exist.",
    "AZD209": "A model that leads nowhere: no such name, no such folder, or a folder that holds no model.",
    "AZD210": "--set or a keyword names no setting, or more than one.",
    "AZD211": "The teacher has no endpoint, and cannot run inside the job.",
    "AZD212": "No instance type that is known here holds the teacher.",
    "AZD220": "A teacher's key stands in an Azure ML distillation job; it is not copied.",
    "AZD221": "A distillation job asks for something that is not done here.",
    "AZD222": "A setting of a distillation job was converted.",
    "AZD223": "A setting of a distillation job has no counterpart and was left out.",
    "AZD230": "The components are missing from this installation.",
    "AZD240": "A teacher's host has retired it, or soon will.",
    "AZD241": "The teacher's terms say something about training on its answers.",
    "AZD250": "The file to be written holds something that azdistill did not write.",
    "AZD251": "The folder to be filled is not empty, or is a file.",
    "AZD260": "A cron expression with days or months, which Azure ML ignores: it would fire on other days.",
    "AZD261": "A schedule that never fires, or not any more.",
    "AZD262": "A day that some months do not have: the schedule skips them.",
    "AZD263": "A time zone that Azure ML knows under another name, with other rules at times.",
    "AZD264": "A schedule names a job of a workspace, which cannot be read here.",
}
