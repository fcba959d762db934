"""What a mapping file of `flightsw nav run` may contain. Sensors are mapped as recordings of a bench are (hil.config.Recording)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hil.config import Name, Recording, Text

Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Limit = Annotated[float, Field(gt=0.0, le=1e9)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True, populate_by_name=False)


class About(_Model):
    """What the run is called. rate_hz: of solutions written."""

    name: Name
    title: Text
    rate_hz: float = Field(20.0, gt=0.0, le=10_000.0)


class Start(_Model):
    """State of the IMU at time_s: from the truth, or by hand. attitude: quaternion body to north-east-down, scalar first."""

    time_s: float = Field(0.0, ge=0.0, le=1e6)
    source: Literal["truth", "given"] = Field("given", alias="from")
    latitude_deg: float | None = Field(None, ge=-90.0, le=90.0)
    longitude_deg: float | None = Field(None, ge=-360.0, le=360.0)
    height_m: float | None = Field(None, ge=-1e4, le=1e7)
    velocity_ned_m_s: Annotated[list[Number], Field(min_length=3, max_length=3)] = [0.0, 0.0, 0.0]
    attitude: Annotated[list[Annotated[float, Field(ge=-1.0, le=1.0)]], Field(min_length=4, max_length=4)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Start:
        by_hand = (self.latitude_deg, self.longitude_deg, self.height_m, self.attitude)
        if self.source == "truth" and any(v is not None for v in by_hand):
            raise ValueError('from = "truth" and values by hand exclude each other')
        if self.source == "given" and any(v is None for v in by_hand):
            raise ValueError('latitude_deg, longitude_deg, height_m and attitude are wanted, or from = "truth"')
        return self


class Window(_Model):
    """A span of time that is scored, and the greatest RMS allowed in it."""

    name: Text
    from_s: float = Field(0.0, ge=0.0, le=1e9)
    to_s: float = Field(1e9, ge=0.0, le=1e9)
    position_m: Limit | None = None
    velocity_m_s: Limit | None = None
    attitude_deg: Limit | None = None

    @model_validator(mode="after")
    def _forward(self) -> Window:
        if self.to_s <= self.from_s:
            raise ValueError("to_s must be greater than from_s")
        return self


class Sensor(Recording):
    """A sensor's file. In an MCAP log of this software, `message` is the topic and nothing else is mapped.

    delay_s: from the time of validity to the arrival at the filter.
    """

    topic: Name = "sensor"
    type: str = ""
    time_column: str = ""
    delay_s: float = Field(0.0, ge=0.0, le=1000.0)

    @property
    def is_log(self) -> bool:
        """Is it an MCAP log?"""
        return self.file.lower().endswith(".mcap")

    @model_validator(mode="after")
    def _mapped(self) -> Sensor:
        if self.is_log and self.message is None:
            raise ValueError('a log holds many topics: say which one, as in message = "/fcc/imu0"')
        if not self.is_log and not self.time_column:
            raise ValueError("time_column is missing")
        return self


class NavFile(_Model):
    """The whole file. filter: parameters by the names of fsw_nav_params_t."""

    nav: About
    filter: dict[str, Any]
    start: Start | None = None
    imu: Sensor
    gnss: Annotated[list[Sensor], Field(max_length=2)] = []
    radalt: Annotated[list[Sensor], Field(max_length=2)] = []
    baro: Annotated[list[Sensor], Field(max_length=1)] = []
    truth: Sensor | None = None
    window: list[Window] = []

    @model_validator(mode="after")
    def _truth_is_there(self) -> NavFile:
        if self.truth is None and self.start is not None and self.start.source == "truth":
            raise ValueError('start.from = "truth", and there is no [truth]')
        if self.truth is None and self.window:
            raise ValueError("[[window]] scores against a [truth], and there is none")
        return self
