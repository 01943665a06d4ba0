// Loads of FPU state that report #GP, which reserved bits in the area raise.
// fpu_xrstor(RDI = area, RSI = components) -> RAX = 0, or 1 on a fault. Clobbers RDX.
.globl fpu_xrstor
fpu_xrstor:
    movl %esi, %eax
    movq %rsi, %rdx
    shrq $32, %rdx
1:  xrstor64 (%rdi)
    xorl %eax, %eax
    retq
9:  movl $1, %eax
    retq
.pushsection .extable, "a"
    .quad 1b, 9b
.popsection

// fpu_fxrstor(RDI = area) -> RAX = 0, or 1 on a fault.
.globl fpu_fxrstor
fpu_fxrstor:
2:  fxrstor64 (%rdi)
    xorl %eax, %eax
    retq
9:  movl $1, %eax
    retq
.pushsection .extable, "a"
    .quad 2b, 9b
.popsection
