// First instructions of a CPU that another one starts: from real mode at the start of a page below 1 MiB (SDM 3A 8.4.4)
// to 64-bit mode on its own stack.
//
// boot/smp.rs copies all between trampoline_start and trampoline_end to that page and fills in the values at the end.
// Offsets are from the start of the page, whose address is kept in EBX.

.section .rodata.trampoline, "a"
.balign 16
.globl trampoline_start
trampoline_start:
.code16
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    xorl %ebx, %ebx
    movw %ax, %bx
    shll $4, %ebx
    lgdtl (trampoline_gdt_pointer - trampoline_start)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl *(trampoline_far32 - trampoline_start)

.code32
trampoline32:
    movl ${boot_ds}, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl ${cr4_boot}, %eax
    movl %eax, %cr4
    movl (trampoline_root - trampoline_start)(%ebx), %eax
    movl %eax, %cr3
    movl ${msr_efer}, %ecx
    rdmsr
    orl ${efer_boot}, %eax
    wrmsr
    movl ${cr0_boot}, %eax
    movl %eax, %cr0
    ljmpl *(trampoline_far64 - trampoline_start)(%ebx)

.code64
trampoline64:
    movq (trampoline_stack - trampoline_start)(%rbx), %rsp
    movq (trampoline_entry - trampoline_start)(%rbx), %rax
    xorl %ecx, %ecx
    movl %ecx, %ds
    movl %ecx, %es
    movl %ecx, %fs
    movl %ecx, %gs
    xorl %ebp, %ebp                             // 0 ends backtraces
    pushq $0
    popfq
    callq *%rax
    ud2

.balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00af9b000000ffff                    // 0x08: ring-0 code, 64-bit
    .quad 0x00cf93000000ffff                    // 0x10: ring-0 data
    .quad 0x00cf9b000000ffff                    // 0x18: ring-0 code, 32-bit
trampoline_gdt_end:
    .balign 4
trampoline_gdt_pointer:
    .word trampoline_gdt_end - trampoline_gdt - 1
// The values that are filled in.
.globl trampoline_gdt_base
trampoline_gdt_base:
    .long trampoline_gdt - trampoline_start
    .balign 8
.globl trampoline_far32
trampoline_far32:
    .long trampoline32 - trampoline_start
    .long 0x18
.globl trampoline_far64
trampoline_far64:
    .long trampoline64 - trampoline_start
    .long {boot_cs64}
.globl trampoline_root
trampoline_root:
    .quad 0
.globl trampoline_stack
trampoline_stack:
    .quad 0
.globl trampoline_entry
trampoline_entry:
    .quad 0
.globl trampoline_end
trampoline_end:

// What the assembler is given next belongs to the text.
.text
