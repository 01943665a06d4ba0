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

// fpu_forget_pointers(): points the x87 instruction and data pointers at our own code. ST(7) is lost.
.globl fpu_forget_pointers
fpu_forget_pointers:
    fnclex
    ffree %st(7)
    fildl fpu_zero(%rip)
    retq
.pushsection .rodata
.balign 4
fpu_zero:
    .long 0
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
