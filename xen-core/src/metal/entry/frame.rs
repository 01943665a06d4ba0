//! Registers of interrupted hypervisor code, as `trap.S` saves them: the part of `CpuUserRegs` that exists on any stack.

/// The saved registers.
#[repr(C)]
#[derive(Debug, Default)]
pub struct HypervisorFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub error_code: u32,
    pub entry_vector: u32,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl HypervisorFrame {
    /// True if the frame is a guest's: it came on an interrupt stack.
    pub fn is_guest(&self) -> bool {
        self.cs & 3 != 0
    }
}
