# fsw_board(NAME SOURCES...): a board from one's own C file and the core: firmware where the toolchain is cortex-m7.cmake, a program elsewhere.
# native/port/board/board.h says what such a file holds.

# Marks of the message definitions and of the sources: `flightsw board build` gives them.
set(FSW_BOARD_MESSAGES "0" CACHE STRING "fingerprint of the message definitions, hexadecimal")
set(FSW_BOARD_SOURCES "0" CACHE STRING "fingerprint of the sources, hexadecimal")
set(FSW_BOARD_SERIAL "emulated-0001" CACHE STRING "serial number of the board")
set(FSW_PORT ${CMAKE_CURRENT_SOURCE_DIR}/native/port CACHE INTERNAL "")      # for whoever calls the function from another folder
set(FSW_BOARD_WARN ${FSW_WARN} CACHE INTERNAL "")
set(FSW_BOARD_SAN ${FSW_SAN_FLAGS} CACHE INTERNAL "")

function(fsw_board name)
  if(CMAKE_SYSTEM_NAME STREQUAL "Generic")
    set(port ${FSW_PORT}/cortex_m7/startup.c ${FSW_PORT}/cortex_m7/memory.c ${FSW_PORT}/cortex_m7/devices.c ${FSW_PORT}/cortex_m7/board.c)
    set(options -ffp-contract=off -ffreestanding)
  else()
    set(port ${FSW_PORT}/board/posix.c)
    set(options -ffp-contract=off ${FSW_BOARD_SAN})
  endif()
  add_executable(${name} ${ARGN} ${port} ${FSW_PORT}/board/serve.c)
  target_compile_options(${name} PRIVATE ${options} ${FSW_BOARD_WARN})
  target_compile_definitions(${name} PRIVATE FSW_BOARD_MESSAGES=0x${FSW_BOARD_MESSAGES}ull FSW_BOARD_SOURCES=0x${FSW_BOARD_SOURCES}ull
    FSW_BOARD_SERIAL="${FSW_BOARD_SERIAL}")
  target_include_directories(${name} PRIVATE ${FSW_PORT}/board ${FSW_PORT}/cortex_m7)
  target_link_libraries(${name} PRIVATE fsw_core)
  if(CMAKE_SYSTEM_NAME STREQUAL "Generic")
    target_link_options(${name} PRIVATE -T ${FSW_PORT}/cortex_m7/mps2.ld)
    set_target_properties(${name} PROPERTIES LINK_DEPENDS ${FSW_PORT}/cortex_m7/mps2.ld)
  else()
    target_link_options(${name} PRIVATE ${FSW_BOARD_SAN})
  endif()
endfunction()

fsw_board(board ${FSW_PORT}/board/flight_computer.c)
target_link_libraries(board PRIVATE fsw_tasks)
target_compile_definitions(board PRIVATE FSW_BOARD_NAME=$<IF:$<STREQUAL:${CMAKE_SYSTEM_NAME},Generic>,"cortex_m7","posix">)
