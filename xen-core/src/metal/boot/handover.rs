//! The library gets the machine, the memory and the boot modules, and builds the control domain.
