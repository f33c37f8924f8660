# pg_heal: the server side (PGXS), linked with the core archive built by CMake.
#
#   make            build pg_heal.so and the install script
#   make install    install into the server that pg_config names
#   make installcheck   SQL tests in a temporary instance of the installed extension
#   make demo       set up, build, start a private cluster, break it, watch it heal
#   make test       set up, build, run every test
#   make bench      measure overhead and speed
#   make programs   the programs on the core, into build/bin

# Not VERSION: PGXS gives that name to the version of the server.
HEAL_VERSION = 0.1.0
MODULE_big = pg_heal
EXTENSION = control/pg_heal
DATA_built = build/pg_heal--$(HEAL_VERSION).sql
SCRIPTS_built = build/bin/heal-replay
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))

CORE_BUILD = build/core
CORE_LIB = $(CORE_BUILD)/libheal_core.a
CORE_SOURCES = $(shell find cpp_core CMakeLists.txt -type f)

PG_CPPFLAGS = -I$(CURDIR)/cpp_core/include
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-declaration-after-statement
# Only the entry points of the server are exported; the core stays inside.
SHLIB_LINK = $(CORE_LIB) -lstdc++ -Wl,--exclude-libs,ALL -Wl,--version-script=$(CURDIR)/src/exports.map

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --temp-instance=$(CURDIR)/build/regress --temp-config=$(CURDIR)/test/regress.conf
# The extension lives in pg_heal.database alone.
override CONTRIB_TESTDB = postgres
EXTRA_CLEAN = build

# The library is loaded by every backend and has no function worth inlining.
override with_llvm = no
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(PGXS),)
include $(PGXS)

$(OBJS): $(wildcard src/*.h) $(wildcard cpp_core/include/heal_core/*)
$(shlib): $(CORE_LIB) src/exports.map
endif

$(CORE_LIB): $(CORE_SOURCES)
	cmake -S . -B $(CORE_BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DHEAL_CORE_TESTS=OFF
	cmake --build $(CORE_BUILD)
	@touch $@

# The shipped rows come from the core's catalogue, so there is one truth.
build/pg_heal--$(HEAL_VERSION).sql: control/pg_heal--$(HEAL_VERSION).sql $(CORE_LIB)
	$(CORE_BUILD)/bin/heal-catalogue --sql > build/shipped.sql
	sed -e '/^-- @shipped@/{' -e 'r build/shipped.sql' -e 'd' -e '}' $< > $@

programs: $(CORE_LIB)
	cmake --build $(CORE_BUILD) --target heal-bench
	mkdir -p build/bin
	cp $(CORE_BUILD)/bin/heal-catalogue $(CORE_BUILD)/bin/heal-bench $(CORE_BUILD)/bin/heal-replay build/bin/

build/bin/heal-replay: $(CORE_LIB)
	mkdir -p build/bin
	cp $(CORE_BUILD)/bin/heal-replay build/bin/

demo:
	scripts/demo.sh

test:
	scripts/test.sh

bench:
	scripts/bench.sh

.PHONY: programs demo test bench
.DEFAULT_GOAL := all
