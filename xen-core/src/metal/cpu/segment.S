// Loads of data segment registers that survive #GP, #NP and #PF.
// segment_load_xx(DI = selector) -> RAX = 0, or 1 after a fault, when the register holds the null selector.

.macro segment_load name, register
.globl \name
\name:
1:  movl %edi, \register
    xorl %eax, %eax
    retq
9:  xorl %eax, %eax
    movl %eax, \register
    movl $1, %eax
    retq
.pushsection .extable, "a"
    .quad 1b, 9b
.popsection
.endm

segment_load segment_load_ds, %ds
segment_load segment_load_es, %es
segment_load segment_load_fs, %fs
segment_load segment_load_gs, %gs
