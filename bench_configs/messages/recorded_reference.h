/* recorded_reference.h - messages of a bench that flies recorded boards beside the estimate that was made on board. */
#include <stdint.h>

/* cffi: begin */
typedef struct { /* what the flight's own computer estimated */
  int64_t t_valid_ns;
  double height_m;      /* m, above the pad */
  double v_up_m_s;      /* m/s */
} onboard_estimate_t;

typedef struct { /* navigation beside it */
  int64_t t_ns;
  double height_diff_m; /* m, navigation minus on-board estimate, now */
  double v_up_diff_m_s; /* m/s */
  double height_rms_m;  /* m, over the window of the task's parameters so far */
  double v_up_rms_m_s;  /* m/s */
  double apogee_m;      /* m, greatest height of the navigation in the window */
  double apogee_onboard_m; /* m, the same of the on-board estimate */
  double apogee_diff_m; /* m, difference of the two */
  uint32_t samples;     /* in the window */
  uint8_t pad0[4];
} estimate_comparison_t;
/* cffi: end */
