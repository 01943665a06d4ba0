//! `xen.h`: what a PV kernel finds in RSI, and the screen of the first domain.

use super::XenPfn;

flags! {
    /// `start_info.flags`.
    pub struct SifFlags(u32);
    prefix "SIF_" {
        /// The domain may do privileged operations.
        PRIVILEGED = 1 << 0,
        /// The domain is the first one.
        INITDOMAIN = 1 << 1,
        /// `mod_start` holds a list of multiboot modules.
        MULTIBOOT_MOD = 1 << 2,
        /// `mod_start` is a frame number, not an address.
        MOD_START_PFN = 1 << 3,
        /// The toolstack may use the P2M list in the guest's address space.
        VIRT_P2M_4TOOLS = 1 << 4,
        /// Power-management options.
        PM_MASK = 0xFF << 8,
    }
}

codes! {
    /// `dom0_vga_console_info.video_type`.
    pub struct VgaType(u8);
    prefix "XEN_VGATYPE_" {
        /// Text mode 3.
        TEXT_MODE_3 = 0x03,
        /// VESA linear frame buffer.
        VESA_LFB = 0x23,
        /// EFI linear frame buffer.
        EFI_LFB = 0x70,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Bytes of [`StartInfo::cmd_line`].
        MAX_GUEST_CMDLINE: usize = 1024,
    }
}

abi_unions! {
    in UNIONS;
    /// Where a PV guest finds its console.
    pub union StartInfoConsole = "start_info.console" [u64; 2] {
        domU: StartInfoConsoleDomU,
        dom0: StartInfoConsoleDom0,
    }
    /// The screen as the boot loader left it.
    pub union Dom0VgaConsoleInfoU = "dom0_vga_console_info.u" [u32; 9] {
        text_mode_3: VgaTextMode3,
        vesa_lfb: VgaVesaLfb,
    }
}

abi_structs! {
    in STRUCTS;
    /// The console ring of an unprivileged guest.
    pub struct StartInfoConsoleDomU = "start_info.console.domU" [16] {
        /// Machine frame of the ring.
        pub mfn: XenPfn,
        /// Port of the console.
        pub evtchn: u32,
        pub _pad: [u8; 4],
    }
    /// The console of the first domain.
    pub struct StartInfoConsoleDom0 = "start_info.console.dom0" [8] {
        /// Offset of [`Dom0VgaConsoleInfo`] in the page, in bytes.
        pub info_off: u32,
        /// Its size in bytes.
        pub info_size: u32,
    }
    /// The page a PV guest's kernel finds in RSI.
    pub struct StartInfo = "start_info" [1168] {
        /// `xen-3.0-x86_64`, NUL-terminated.
        pub magic: [u8; 32],
        /// Pages of the domain.
        pub nr_pages: u64,
        /// Machine address of the shared page.
        pub shared_info: u64,
        /// [`SifFlags`].
        pub flags: u32,
        pub _pad0: [u8; 4],
        /// Machine frame of the xenstore ring.
        pub store_mfn: XenPfn,
        /// Port of xenstore.
        pub store_evtchn: u32,
        pub _pad1: [u8; 4],
        /// Console.
        pub console: StartInfoConsole,
        /// Virtual address of the level-4 table.
        pub pt_base: u64,
        /// Frames of the bootstrap page tables.
        pub nr_pt_frames: u64,
        /// Virtual address of the P2M list.
        pub mfn_list: u64,
        /// Virtual address (or frame number, see [`SifFlags::MOD_START_PFN`]) of the module.
        pub mod_start: u64,
        /// Bytes of the module.
        pub mod_len: u64,
        /// Command line, NUL-terminated.
        pub cmd_line: [u8; MAX_GUEST_CMDLINE],
        /// First guest frame of the P2M list, if outside the initial mapping.
        pub first_p2m_pfn: u64,
        /// Frames of the P2M list.
        pub nr_p2m_frames: u64,
    }
    /// One module of the list in `mod_start` under [`SifFlags::MULTIBOOT_MOD`].
    pub struct MultibootModList = "xen_multiboot_mod_list" [16] {
        /// Address of the first byte.
        pub mod_start: u32,
        /// Address behind the last byte.
        pub mod_end: u32,
        /// Address of the module's command line.
        pub cmdline: u32,
        pub pad: u32,
    }
    /// Text screen.
    pub struct VgaTextMode3 = "dom0_vga_console_info.u.text_mode_3" [10] {
        /// Pixels.
        pub font_height: u16,
        pub cursor_x: u16,
        pub cursor_y: u16,
        pub rows: u16,
        pub columns: u16,
    }
    /// Linear frame buffer.
    pub struct VgaVesaLfb = "dom0_vga_console_info.u.vesa_lfb" [36] {
        /// Pixels.
        pub width: u16,
        /// Pixels.
        pub height: u16,
        pub bytes_per_line: u16,
        pub bits_per_pixel: u16,
        /// Physical address, low half.
        pub lfb_base: u32,
        /// In units of 64 KiB.
        pub lfb_size: u32,
        pub red_pos: u8,
        pub red_size: u8,
        pub green_pos: u8,
        pub green_size: u8,
        pub blue_pos: u8,
        pub blue_size: u8,
        pub rsvd_pos: u8,
        pub rsvd_size: u8,
        /// VBE capabilities.
        pub gbl_caps: u32,
        /// VBE mode attributes.
        pub mode_attrs: u16,
        pub pad: u16,
        /// Physical address, high half.
        pub ext_lfb_base: u32,
    }
    /// What the first domain learns of the screen.
    pub struct Dom0VgaConsoleInfo = "dom0_vga_console_info" [40] {
        /// Which view of `u` is valid.
        pub video_type: VgaType,
        pub _pad: [u8; 3],
        pub u: Dom0VgaConsoleInfoU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [SifFlags::CODES, VgaType::CODES, CONSTANTS] }
