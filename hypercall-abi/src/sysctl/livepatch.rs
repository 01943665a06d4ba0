//! `sysctl.h`: live patches.

use crate::guest_handle::GuestHandle;

codes! {
    /// `xen_sysctl_livepatch_op.cmd`.
    pub struct LivepatchCmd(u32);
    prefix "XEN_SYSCTL_LIVEPATCH_" {
        /// Uploads a patch.
        UPLOAD = 0,
        /// State of one.
        GET = 1,
        /// Lists them.
        LIST = 2,
        /// Applies or reverts one.
        ACTION = 3,
    }
}

codes! {
    /// `xen_livepatch_status.state`.
    pub struct LivepatchState(u32);
    prefix "LIVEPATCH_STATE_" {
        /// Loaded.
        CHECKED = 1,
        /// In effect.
        APPLIED = 2,
    }
}

codes! {
    /// `xen_sysctl_livepatch_action.cmd`.
    pub struct LivepatchAction(u32);
    prefix "LIVEPATCH_ACTION_" {
        /// Unload.
        UNLOAD = 1,
        /// Revert.
        REVERT = 2,
        /// Apply.
        APPLY = 3,
        /// Revert all others and apply.
        REPLACE = 4,
    }
}

flags! {
    /// `xen_sysctl_livepatch_action.flags`.
    pub struct LivepatchActionFlags(u32);
    prefix "LIVEPATCH_ACTION_" {
        /// Do not check what it depends on.
        APPLY_NODEPS = 1 << 0,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Version of the payload.
        LIVEPATCH_PAYLOAD_VERSION: u32 = 2,
        /// Bytes of a name.
        XEN_LIVEPATCH_NAME_SIZE: u32 = 128,
    }
}

abi_unions! {
    in UNIONS;
    /// By command.
    pub union SysctlLivepatchOpU = "xen_sysctl_livepatch_op.u" [u64; 8] {
        upload: SysctlLivepatchUpload,
        list: SysctlLivepatchList,
        get: SysctlLivepatchGet,
        action: SysctlLivepatchAction,
    }
}

abi_structs! {
    in STRUCTS;
    /// Name of a patch.
    pub struct LivepatchName = "xen_livepatch_name" [16] {
        pub name: GuestHandle<u8>,
        /// Bytes with the NUL.
        pub size: u16,
        pub pad: [u16; 3],
    }
    /// Argument of `UPLOAD`.
    pub struct SysctlLivepatchUpload = "xen_sysctl_livepatch_upload" [32] {
        pub name: LivepatchName,
        /// Bytes.
        pub size: u64,
        pub payload: GuestHandle<u8>,
    }
    /// State of a patch.
    pub struct LivepatchStatus = "xen_livepatch_status" [8] {
        /// [`LivepatchState`].
        pub state: u32,
        /// Negative errno, of the last action.
        pub rc: i32,
    }
    /// Argument of `GET`.
    pub struct SysctlLivepatchGet = "xen_sysctl_livepatch_get" [24] {
        pub name: LivepatchName,
        pub status: LivepatchStatus,
    }
    /// Argument of `LIST`.
    pub struct SysctlLivepatchList = "xen_sysctl_livepatch_list" [64] {
        pub version: u32,
        pub idx: u32,
        pub nr: u32,
        pub pad: u32,
        pub name_total_size: u32,
        pub metadata_total_size: u32,
        pub status: GuestHandle<LivepatchStatus>,
        pub name: GuestHandle<u8>,
        pub len: GuestHandle<u32>,
        pub metadata: GuestHandle<u8>,
        pub metadata_len: GuestHandle<u32>,
    }
    /// Argument of `ACTION`.
    pub struct SysctlLivepatchAction = "xen_sysctl_livepatch_action" [32] {
        pub name: LivepatchName,
        /// [`LivepatchAction`].
        pub cmd: u32,
        /// Nanoseconds.
        pub timeout: u32,
        /// [`LivepatchActionFlags`].
        pub flags: u32,
        pub pad: u32,
    }
    /// Argument of `livepatch_op`.
    pub struct SysctlLivepatchOp = "xen_sysctl_livepatch_op" [72] {
        /// [`LivepatchCmd`].
        pub cmd: u32,
        pub pad: u32,
        pub u: SysctlLivepatchOpU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [LivepatchCmd::CODES, LivepatchState::CODES, LivepatchAction::CODES, LivepatchActionFlags::CODES, CONSTANTS] }
