"""The proof against power cuts: every instant of an update, on the real file systems.

An update runs once while every flash operation is recorded. From this recording, the proof
reconstructs the flash after a cut before each operation, or in the middle of it, and starts a
board on the result.

scenario, scenarios           an update and how it must end; all of them
firmware, keys, stage         the pushed firmware, and the flash before it
bench, forkserver             boards on a flash, each a process
cuts, played                  the flash after a cut; an update without one
cases, work                   one case; a share of them
judge, reports, aftermath     find what is wrong after a case
plan, campaign, tally, seen   what is tried, the processes for it, and the results
fat                           the same for firmware that is staged on FAT
faults                        deliberate faults, which must be detected
__main__, soak, figures       the commands, and the files that they write
"""
