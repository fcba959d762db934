/* Tasks from a user's shared library. The library exports
 *     const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n);
 * and is never unloaded: images refer to its step functions for the life of the process. It may call the core's mathematics and
 * random numbers: the names of the library that holds this file, the Python extension, are made visible to it. */
#define _GNU_SOURCE /* dladdr, RTLD_NOLOAD */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "flightsw/task.h"

typedef const fsw_task_desc_t *const *(*tasks_fn)(uint32_t *n);
const fsw_task_desc_t *const *fsw_plugin_open(const char *path, uint32_t *n, char *problem, uint32_t problem_size);

const fsw_task_desc_t *const *fsw_plugin_open(const char *path, uint32_t *n, char *problem, uint32_t problem_size) {
  *n = 0;
  static const char here = 0; /* an address in this library */
  Dl_info self;
  if (dladdr(&here, &self) && self.dli_fname) (void)dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *symbol = lib ? dlsym(lib, "fsw_plugin_tasks") : NULL;
  if (!symbol) {
    const char *why = dlerror();
    (void)snprintf(problem, problem_size, "%s", why ? why : "no symbol fsw_plugin_tasks");
    return NULL;
  }
  tasks_fn tasks;
  memcpy(&tasks, &symbol, sizeof tasks); /* ISO C has no cast from object to function pointer */
  return tasks(n);
}
