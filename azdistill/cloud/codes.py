"""Every code that work on Azure can end with, and what it means."""

from __future__ import annotations

CODES: dict[str, str] = {
    # Connecting, preparing, planning, submitting: 401-429.
    # Following: 430-449.
    # Schedules: 450-469.
    # Endpoints and doctor: 470-489.
    # The client, assets, models: 490-499.
}
