/*
 * conf_cpus.c - how many CPUs this process may really use.
 *
 * The smaller of its affinity and its control group's quota: a container with
 * a quota of 1.5 CPUs on a 64-core machine should not run 64 workers.
 */
#include "common/conf.h"
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int affinity_cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* Does "3:cpu,cpuacct:/a" name this controller? "" is version 2's "0::/a". */
static bool names_controller(const char *line, const char *controller)
{
    const char *at = strchr(line, ':');
    const char *end = at ? strchr(at + 1, ':') : NULL;
    size_t length = strlen(controller);

    while (end && at < end) {
        const char *name = at + 1;
        size_t span = strcspn(name, ",:");

        if (span == length && strncmp(name, controller, length) == 0)
            return true;
        at = name + span;
    }
    return false;
}

/* This process' path in the controller's hierarchy; "" at its root. */
static void cgroup_path(const char *controller, char ret[512])
{
    FILE *file = fopen("/proc/self/cgroup", "r");
    char line[1024];

    ret[0] = '\0';
    if (!file)
        return;
    while (fgets(line, sizeof(line), file)) {
        char *slash = strchr(line, '/');

        if (slash && names_controller(line, controller)) {
            slash[strcspn(slash, "\n")] = '\0';
            snprintf(ret, 512, "%s", strcmp(slash, "/") == 0 ? "" : slash);
            break;
        }
    }
    fclose(file);
}

/* quota / period of one folder's file; 0 when there is no limit. */
static double read_quota(const char *folder, const char *name, const char *period_name)
{
    char path[1024];
    double quota = 0, period = 100000;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    int got = fscanf(file, "%lf %lf", &quota, &period); /* "max 100000" gives 0 */
    fclose(file);
    if (got >= 1 && period_name) {
        snprintf(path, sizeof(path), "%s/%s", folder, period_name);
        file = fopen(path, "r");
        if (file) {
            got = fscanf(file, "%lf", &period);
            fclose(file);
        }
    }
    return got >= 1 && quota > 0 && period > 0 ? quota / period : 0;
}

/* The tightest limit from this group up to the root. 0: none. */
static double tightest(const char *root, char *group, const char *name,
                       const char *period_name)
{
    double least = 0;

    for (;;) {
        char folder[768];

        snprintf(folder, sizeof(folder), "%s%s", root, group);
        double quota = read_quota(folder, name, period_name);
        if (quota > 0 && (least == 0 || quota < least))
            least = quota;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

int conf_usable_cpus(void)
{
    char group[512];
    int cpus = affinity_cpus();

    cgroup_path("", group);
    double quota = tightest("/sys/fs/cgroup", group, "cpu.max", NULL);
    if (quota == 0) {
        cgroup_path("cpu", group);
        quota = tightest("/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us",
                         "cpu.cfs_period_us");
    }
    if (quota > 0 && ceil(quota) < cpus)
        cpus = (int)ceil(quota);
    return cpus > 0 ? cpus : 1;
}

int conf_count_value(const struct conf_count *count)
{
    int cpus = conf_usable_cpus();

    if (count->is_auto)
        return cpus;
    if (count->percent == 0)
        return count->number;
    int share = (cpus * count->percent + 50) / 100;
    return share > 0 ? share : 1;
}
