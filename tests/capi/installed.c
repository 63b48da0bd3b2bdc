/* What a host's build sees of an installed Tessera: header, link, run. Its argument is the version it expects. */
#include <stdio.h>
#include <string.h>
#include <tessera/tessera.h>

int main(int argc, char **argv) {
    tessera_error err;
    tessera_config config;
    if (argc != 2 || strcmp(argv[1], tessera_version_string()) != 0) {
        fprintf(stderr, "version %s\n", tessera_version_string());
        return 1;
    }
    if (tessera_abi_version() != TESSERA_ABI_VERSION) return 2;
    if (tessera_config_create(&config, &err) != TESSERA_OK) return 3;
    if (tessera_config_set(config, "parallel.tp", "4", &err) != TESSERA_OK) return 4;
    if (tessera_config_destroy(config) != TESSERA_OK) return 5;
    printf("tessera %s is usable\n", tessera_version_string());
    return 0;
}
