"""The proof against power cuts: every instant of an update, on the real file systems.

An update is run once and every operation of its flash written down. From that the flash is made
as a cut at each operation leaves it, or in the midst of each, and a board is started on it.

    scenario, scenarios           an update and how it has to end; all of them
    firmware, keys, stage         what is pushed, and the flash before it
    bench, forkserver             boards on a flash, each a process
    cuts, played                  the flash after a cut; an update without one
    cases, work                   one case; a share of them
    judge, reports, aftermath     what is wrong after a case
    plan, campaign, tally, seen   what is tried, by which processes, what came of it
    fat                           the same for firmware that is staged on FAT
    faults                        deliberate faults, which have to be noticed
    __main__, soak, figures       the commands, and what they write
"""
