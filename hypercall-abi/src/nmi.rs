//! `nmi.h`: non-maskable interrupts for the control domain (`__HYPERVISOR_nmi_op`).

flags! {
    /// Why an NMI was delivered: `arch_shared_info.nmi_reason`.
    pub struct NmiReason(u64);
    prefix "XEN_NMIREASON_" {
        /// I/O check error.
        io_error = 1 << 0,
        /// PCI system error.
        pci_serr = 1 << 1,
        /// Unknown hardware reason.
        unknown = 1 << 2,
    }
}

codes! {
    /// Sub-operation of `nmi_op`.
    pub struct NmiOp(u32);
    prefix "XENNMI_" {
        /// Registers the NMI entry point of the calling vCPU.
        register_callback = 0,
        /// Removes it.
        unregister_callback = 1,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `XENNMI_register_callback`.
    pub struct XennmiCallback = "xennmi_callback" [16] {
        /// Guest virtual address of the entry point.
        pub handler_address: u64,
        pub pad: u64,
    }
}

layout_entries! { types: [STRUCTS], constants: [NmiReason::CODES, NmiOp::CODES] }
