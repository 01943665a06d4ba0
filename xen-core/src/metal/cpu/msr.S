// RDMSR and WRMSR that report #GP instead of dying of it.

// msr_read_safe(EDI = register, RSI = where to put the value) -> RAX = 0, or 1 on #GP. Clobbers RCX, RDX.
.globl msr_read_safe
msr_read_safe:
    movl %edi, %ecx
1:  rdmsr
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, (%rsi)
    xorl %eax, %eax
    retq
9:  movl $1, %eax
    retq
.pushsection .extable, "a"
    .quad 1b, 9b
.popsection

// msr_write_safe(EDI = register, RSI = value) -> RAX = 0, or 1 on #GP. Clobbers RCX, RDX.
.globl msr_write_safe
msr_write_safe:
    movl %edi, %ecx
    movl %esi, %eax
    movq %rsi, %rdx
    shrq $32, %rdx
2:  wrmsr
    xorl %eax, %eax
    retq
9:  movl $1, %eax
    retq
.pushsection .extable, "a"
    .quad 2b, 9b
.popsection
