/* command_task.c - task gnc.permit: takes commands that the receiver passed on, publishes what they permit. Manual: flightsw/command.h. */
#include "flightsw/command.h"

/* A command that arrived since the last run, else NULL. */
static const fsw_command_t *arrived(const fsw_io_t *io, fsw_permit_task_state_t *s)
{
  const fsw_topic_head_t *head = io->in_head[0];
  if (head->seq == s->command_seq) return NULL;
  s->command_seq = head->seq;
  return io->in[0];
}

static int32_t landed(const fsw_io_t *io)
{
  const fsw_touchdown_t *t = io->in[1];
  return t != NULL && t->landed; /* zero before it was first written */
}

static int32_t step(fsw_io_t *io)
{
  fsw_permit_task_state_t *s = io->state;
  const fsw_permit_task_params_t *p = io->params;
  uint64_t before = s->permit.check; /* another word: something changed */
  fsw_permit_step(&s->permit, arrived(io, s), io->t_ns, landed(io));
  s->quiet_ticks++;
  io->publish = s->permit.check != before || s->quiet_ticks >= p->repeat_ticks;
  if (!io->publish) return 0;
  s->quiet_ticks = 0;
  *(fsw_permit_t *)io->out[0] = (fsw_permit_t){
    .t_ns = io->t_ns, .t_expires_ns = s->permit.token ? s->permit.t_armed_ns + FSW_PERMIT_TOKEN_NS : 0, .token = s->permit.token,
    .counter = s->permit.done, .accepted = s->permit.accepted, .refused = s->permit.refused, .state = s->permit.state,
    .reason = s->permit.reason };
  return 0;
}

static void init(void *state, const void *params)
{
  fsw_permit_task_state_t *s = state;
  fsw_permit_init(&s->permit);
  s->quiet_ticks = ((const fsw_permit_task_params_t *)params)->repeat_ticks; /* the first run publishes */
}

static const fsw_port_t reads[] = { FSW_READ("command", fsw_command_t), FSW_READ_OPT("touchdown", fsw_touchdown_t) };
static const fsw_port_t writes[] = { FSW_WRITE("permit", fsw_permit_t) };
FSW_TASK(fsw_task_gnc_permit, "gnc.permit", step, init, fsw_permit_task_state_t, fsw_permit_task_params_t, reads, writes,
  "Decides in which order commands are legal, and whether engines may be started.");
