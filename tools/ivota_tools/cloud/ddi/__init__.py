"""hawkBit's Direct Device Integration (DDI), by which SWUpdate and RAUC poll for updates.

A device of DDI is a device of the fleet whose transport is `ddi`. Its product is the tenant, and
its name is the id of its controller.
"""
