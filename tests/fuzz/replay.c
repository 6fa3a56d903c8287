/* SPDX-License-Identifier: MIT */
/*
 * A main() for builds without libFuzzer: runs a target on every file that its arguments
 * name, a folder standing for the files in it.  So the kept inputs are ordinary tests under
 * any compiler.  An input that the target does not like ends the program; its name is the
 * last that was printed.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static size_t inputs;

static void
run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes, *exact;
    long size;

    FUZZ_CHECK(f != NULL, "cannot open %s", path);
    FUZZ_CHECK(
            fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0, "cannot read %s", path);
    rewind(f);
    bytes = malloc((size_t)size + 1);
    FUZZ_CHECK(bytes != NULL, "no memory");
    FUZZ_CHECK(fread(bytes, 1, (size_t)size, f) == (size_t)size, "cannot read %s", path);
    fclose(f);
    exact = realloc(bytes, (size_t)size > 0 ? (size_t)size : 1);
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(exact, (size_t)size);
    free(exact);
    inputs++;
}

static int
is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void
run_folder(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_visible, alphasort);
    char path[4096];

    FUZZ_CHECK(n >= 0, "cannot list %s", folder);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        run_file(path);
        free(entries[i]);
    }
    free(entries);
}

int
main(int argc, char **argv)
{
    struct stat st;

    for (int i = 1; i < argc; i++) {
        FUZZ_CHECK(stat(argv[i], &st) == 0, "there is no %s", argv[i]);
        if (S_ISDIR(st.st_mode))
            run_folder(argv[i]);
        else
            run_file(argv[i]);
    }
    FUZZ_CHECK(inputs > 0, "no input was given");
    printf("%zu inputs, nothing wrong\n", inputs);
    return 0;
}
