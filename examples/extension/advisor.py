"""A Python task of one's own: does the propellant last until touchdown?"""

from flightsw import TaskIO, python_task


@python_task(
    "example.advisor",
    reads={"gauge": "propellant_gauge_t", "guidance": "fsw_guidance_t"},
    writes={"advice": "propellant_advice_t"},
    state="typedef struct { double worst_s; } advisor_state_t;",
    params="typedef struct { double margin_s; /* [0, 60] = 2 : wanted beyond touchdown */ } advisor_params_t;",
)
def advisor(io: TaskIO) -> None:
    """Burn time left beyond the time to go."""
    gauge, guidance, advice = io.reads["gauge"], io.reads["guidance"], io.writes["advice"]
    reserve = gauge["burn_time_s"] - max(0.0, guidance["t_go_s"])
    advice["reserve_s"] = reserve
    advice["go"] = gauge["burn_time_s"] == 0.0 or reserve > io.params["margin_s"]
    io.state["worst_s"] = min(io.state["worst_s"], reserve)
