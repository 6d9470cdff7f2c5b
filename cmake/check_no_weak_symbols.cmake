# Fails if ${OBJECT} defines weak symbols: an inline function compiled with ISA flags could be
# chosen by the linker for the whole program and crash a CPU that lacks the ISA.

execute_process(COMMAND ${NM} -C --defined-only ${OBJECT}
                OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[0-9a-f]+ [WVu] [^\n]+" weak "${symbols}")
if(weak)
  list(JOIN weak "\n  " weak)
  message(FATAL_ERROR "${OBJECT} defines inline code compiled with ISA flags:\n  ${weak}")
endif()
