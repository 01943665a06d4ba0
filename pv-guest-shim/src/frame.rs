//! What a trap leaves on the stack: the context that it interrupted.
//!
//! Contract: public/arch-x86/xen-x86_64.h.

/// The interrupted context, as the stubs leave it on the stack. A handler may change it; the trap returns to what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    /// Vector, or pseudo vector from `traps::EVENT` on.
    pub vector: u64,
    /// Error code; 0 for vectors without one.
    pub error_code: u64,
    pub rip: u64,
    /// The selector in the low half, with RPL 0 from kernel mode; the event mask in bits 32 to 39.
    pub cs: u64,
    /// With IF as the inverse of the event mask.
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Frame {
    /// Whether the trap came from user mode.
    #[must_use]
    pub const fn from_user(&self) -> bool {
        self.cs & 3 == 3
    }

    /// The event mask at the time of the trap.
    #[must_use]
    pub const fn saved_mask(&self) -> u8 {
        (self.cs >> 32) as u8
    }
}
