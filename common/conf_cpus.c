/*
 * conf_cpus.c - how many CPUs this process may really use.
 *
 * The smaller of its affinity and its control group's quota: a container with
 * a quota of 1.5 CPUs on a 64-core machine should not run 64 workers.
 */
#include "common/conf_internal.h"
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
static void cgroup_path(const char *list, const char *controller, char ret[512])
{
    FILE *file = fopen(list, "r");
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

/* The first line of a file in a folder; "" when it cannot be read. */
static void first_line(const char *folder, const char *name, char ret[64])
{
    char path[1024];

    ret[0] = '\0';
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    if (!fgets(ret, 64, file))
        ret[0] = '\0';
    fclose(file);
}

/* Version 2 writes "150000 100000" or "max 100000" into one file. 0: no limit. */
static double quota_of_version_2(const char *folder)
{
    char line[64], *rest;

    first_line(folder, "cpu.max", line);
    double quota = strtod(line, &rest);
    double period = strtod(rest, NULL);
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* Version 1 has a file for each number; a quota of -1 is no limit. */
static double quota_of_version_1(const char *folder)
{
    char quota_text[64], period_text[64];

    first_line(folder, "cpu.cfs_quota_us", quota_text);
    first_line(folder, "cpu.cfs_period_us", period_text);
    double quota = strtod(quota_text, NULL), period = strtod(period_text, NULL);
    return quota > 0 && period > 0 ? quota / period : 0;
}

/*
 * The tightest limit from this group up to the root. Inside a container the group's
 * own path is often not there, and the root is the container's group.
 */
static double tightest(const char *root, const char *list, const char *controller,
                       double (*quota_of)(const char *folder))
{
    double least = 0;
    char group[512];

    cgroup_path(list, controller, group);
    for (;;) {
        char folder[768];

        snprintf(folder, sizeof(folder), "%s%s", root, group);
        double quota = quota_of(folder);
        if (quota > 0 && (least == 0 || quota < least))
            least = quota;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

double conf_cgroup_cpus(const char *root, const char *list)
{
    char version_1[512];
    double cpus = tightest(root, list, "", quota_of_version_2);

    if (cpus > 0)
        return cpus;
    snprintf(version_1, sizeof(version_1), "%s/cpu", root);
    return tightest(version_1, list, "cpu", quota_of_version_1);
}

int conf_usable_cpus(void)
{
    int cpus = affinity_cpus();
    double quota = conf_cgroup_cpus("/sys/fs/cgroup", "/proc/self/cgroup");

    if (quota > 0 && ceil(quota) < cpus)
        cpus = (int)ceil(quota);
    return cpus > 0 ? cpus : 1;
}

static int amount(bool is_auto, int percent, int number)
{
    if (!is_auto && percent == 0)
        return number;
    int cpus = conf_usable_cpus();
    int share = is_auto ? cpus : (cpus * percent + 50) / 100;
    return share > 0 ? share : 1;
}

int conf_count_value(const struct conf_count *count)
{
    return amount(count->is_auto, count->percent, count->number);
}

int conf_count_most(const struct conf_count *count)
{
    if (!count->is_range)
        return conf_count_value(count);
    return amount(count->most.is_auto, count->most.percent, count->most.number);
}
