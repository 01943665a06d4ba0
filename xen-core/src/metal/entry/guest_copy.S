// Copies between the hypervisor and the loaded guest address space. The only windows in which SMAP is open.

.macro stac_site
8:  nopl (%rax)
.pushsection .stac_sites, "a"
    .quad 8b
.popsection
.endm

// Where a fault at `from` goes on.
.macro on_fault from, to
.pushsection .extable, "a"
    .quad \from, \to
.popsection
.endm

// guest_copy(RDI = to, RSI = from, RDX = bytes) -> RAX = bytes not copied, RDX = what faulted: vector << 32 | error code.
// Clobbers RCX, RSI, RDI.
.globl guest_copy
guest_copy:
    movq %rdx, %rcx
    shrq $3, %rcx
    andl $7, %edx
    stac_site
1:  rep movsq
    movl %edx, %ecx
2:  rep movsb
    clac_site
    xorl %eax, %eax
    retq
    // RCX words and R8 bytes are left (RDX was overwritten by the fix-up, so the tail's length comes from the stack of
    // the fault: see extable.rs, which keeps RDX in R8).
3:  leaq (%r8, %rcx, 8), %rax
    clac_site
    retq
4:  movq %rcx, %rax
    clac_site
    retq
    on_fault 1b, 3b
    on_fault 2b, 4b
