//! `callback.h`: the entry points of a PV kernel (`__HYPERVISOR_callback_op`).

codes! {
    /// Sub-operation of `callback_op`.
    pub struct CallbackOp(u32);
    prefix "CALLBACKOP_" {
        /// Registers an entry point.
        register = 0,
        /// Removes one.
        unregister = 1,
    }
}

codes! {
    /// Which entry point.
    pub struct CallbackType(u16);
    prefix "CALLBACKTYPE_" {
        /// Events.
        event = 0,
        /// Failure to return to the guest's state.
        failsafe = 1,
        /// 64-bit `syscall`.
        syscall = 2,
        /// `sysenter` before interface 3.2.7.
        sysenter_deprecated = 3,
        /// Non-maskable interrupts.
        nmi = 4,
        /// `sysenter`.
        sysenter = 5,
        /// 32-bit `syscall`.
        syscall32 = 7,
    }
}

flags! {
    /// `callback_register.flags`.
    pub struct CallbackFlags(u16);
    prefix "CALLBACKF_" {
        /// Events are masked on entry.
        mask_events = 1 << 0,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `CALLBACKOP_register`.
    pub struct CallbackRegister = "callback_register" [16] {
        pub r#type: CallbackType,
        /// [`CallbackFlags`].
        pub flags: u16,
        pub _pad: [u8; 4],
        /// Entry point.
        pub address: u64,
    }
    /// Argument of `CALLBACKOP_unregister`.
    pub struct CallbackUnregister = "callback_unregister" [4] {
        pub r#type: CallbackType,
        pub _unused: u16,
    }
}

layout_entries! { types: [STRUCTS], constants: [CallbackOp::CODES, CallbackType::CODES, CallbackFlags::CODES] }
