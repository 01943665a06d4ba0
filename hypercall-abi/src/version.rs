//! `version.h`: what the hypervisor says about itself (`__HYPERVISOR_xen_version`).

/// `xen_extraversion_t`: NUL-terminated, what follows major and minor version.
pub type ExtraVersion = [u8; EXTRAVERSION_LEN];

/// `xen_capabilities_info_t`: NUL-terminated list of guest types.
pub type CapabilitiesInfo = [u8; CAPABILITIES_INFO_LEN];

/// `xen_changeset_info_t`: NUL-terminated.
pub type ChangesetInfo = [u8; CHANGESET_INFO_LEN];

/// `xen_commandline_t`: NUL-terminated.
pub type Commandline = [u8; 1024];

codes! {
    /// Sub-operation of `xen_version`.
    pub struct VersionOp(u32);
    prefix "XENVER_" {
        /// Major version in bits 16 to 31, minor in bits 0 to 15.
        version = 0,
        /// [`ExtraVersion`].
        extraversion = 1,
        /// [`CompileInfo`].
        compile_info = 2,
        /// [`CapabilitiesInfo`].
        capabilities = 3,
        /// [`ChangesetInfo`].
        changeset = 4,
        /// [`PlatformParameters`].
        platform_parameters = 5,
        /// [`FeatureInfo`].
        get_features = 6,
        /// Bytes of a page.
        pagesize = 7,
        /// The toolstack's UUID of the calling domain.
        guest_handle = 8,
        /// [`Commandline`].
        commandline = 9,
        /// [`BuildId`].
        build_id = 10,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// Bytes of [`ExtraVersion`].
        EXTRAVERSION_LEN: usize = 16,
        /// Bytes of [`CapabilitiesInfo`].
        CAPABILITIES_INFO_LEN: usize = 1024,
        /// Bytes of [`ChangesetInfo`].
        CHANGESET_INFO_LEN: usize = 64,
    }
}

abi_structs! {
    in STRUCTS;
    /// Who built the hypervisor, NUL-terminated strings.
    pub struct CompileInfo = "xen_compile_info" [144] {
        pub compiler: [u8; 64],
        pub compile_by: [u8; 16],
        pub compile_domain: [u8; 32],
        pub compile_date: [u8; 32],
    }
    /// Where the hypervisor lives.
    pub struct PlatformParameters = "xen_platform_parameters" [8] {
        /// Its first virtual address.
        pub virt_start: u64,
    }
    /// Argument of `get_features`.
    pub struct FeatureInfo = "xen_feature_info" [8] {
        /// Which 32 features.
        pub submap_idx: u32,
        /// Filled in: bit per [`Feature`](crate::features::Feature).
        pub submap: u32,
    }
    /// Argument of `build_id`.
    pub struct BuildId = "xen_build_id" [4] {
        /// Room in bytes for what follows.
        pub len: u32,
        /// Follows: the build id.
        pub buf: [u8; 0],
    }
}

layout_entries! { types: [STRUCTS], constants: [VersionOp::CODES, CONSTANTS] }
