// First instructions: from a multiboot loader's 32-bit flat mode to the 64-bit Rust entry in the high half.
// Contract: Multiboot Specification 0.6.96 section 3.2, Multiboot2 Specification 2.0 section 3.3, SDM 3A 9.8.5.
// All addresses used before paging are written symbol - BASE.

.set BASE, {base}

.section .multiboot, "a"
.balign 8
multiboot1_header:
    .long {mb1_header_magic}
    .long {mb1_header_flags}
    .long -({mb1_header_magic} + {mb1_header_flags})

.balign 8
multiboot2_header:
    .long {mb2_header_magic}
    .long 0                                     // architecture: 32-bit protected mode of i386
    .long multiboot2_header_end - multiboot2_header
    .long 0x100000000 - ({mb2_header_magic} + (multiboot2_header_end - multiboot2_header))
    // Modules on page boundaries (tag type 6).
    .balign 8
    .word 6, 0
    .long 8
    // End of tags.
    .balign 8
    .word 0, 0
    .long 8
multiboot2_header_end:

.section .text.boot, "ax"
.code32
.globl _start32
// In: EAX = loader magic, EBX = physical address of the loader's information.
_start32:
    cli
    cld
    movl %eax, %ebp
    movl %ebx, %esi
    movl $(boot_stack_top - BASE), %esp

    // Zero .bss: the loader need not have done it.
    movl $(__bss_start - BASE), %edi
    movl $(__bss_end - BASE), %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl
    movl %ebp, (boot_magic - BASE)
    movl %esi, (boot_info - BASE)

    // Long mode and no-execute are required (CPUID 0x80000001 EDX bits 29 and 20).
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jnc no_long_mode
    btl $20, %edx
    jnc no_nx

    // One L3 of four L2 tables of 2 MiB pages: physical 0 to 4 GiB. It is used three times: as the identity map that
    // this code runs on, as the image and as the first 4 GiB of the direct map.
    movl $(boot_l2 - BASE), %edi
    movl ${large_rw}, %eax
    xorl %edx, %edx
1:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 1b

    movl $(boot_l3 - BASE), %edi
    movl $(boot_l2 - BASE + {table_rw}), %eax
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $8, %edi
    addl $4096, %eax
    loop 2b

    movl $(boot_l3 - BASE + {table_rw}), %eax
    movl %eax, (boot_l4 - BASE)
    movl %eax, (boot_l4 - BASE + 8 * {image_slot})
    movl %eax, (boot_l4 - BASE + 8 * {direct_map_slot})

    movl ${cr4_boot}, %eax
    movl %eax, %cr4
    movl $(boot_l4 - BASE), %eax
    movl %eax, %cr3
    movl ${msr_efer}, %ecx
    rdmsr
    orl ${efer_boot}, %eax
    wrmsr
    movl ${cr0_boot}, %eax
    movl %eax, %cr0
    lgdt (boot_gdt_pointer_low - BASE)
    ljmp ${boot_cs64}, $(start64 - BASE)

no_long_mode:
    movl $(no_long_mode_text - BASE), %esi
    jmp say_and_halt
no_nx:
    movl $(no_nx_text - BASE), %esi
// In: ESI = text, NUL-terminated. Prints on the first serial port as the firmware left it, and stops.
say_and_halt:
    movw $0x3fd, %dx
3:  inb %dx, %al
    testb $0x20, %al
    jz 3b
    movw $0x3f8, %dx
    lodsb
    testb %al, %al
    jz 4f
    outb %al, %dx
    jmp say_and_halt
4:  hlt
    jmp 4b

no_long_mode_text:
    .asciz "Xenolith needs a 64-bit processor (long mode)\r\n"
no_nx_text:
    .asciz "Xenolith needs a processor with no-execute pages, switched on in the firmware\r\n"

.code64
start64:
    movabsq $start64_high, %rax
    jmpq *%rax
start64_high:
    lgdt boot_gdt_pointer_high(%rip)
    movl ${boot_ds}, %eax
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    leaq boot_stack_top(%rip), %rsp
    xorl %ebp, %ebp                             // 0 ends backtraces
    pushq $0
    popfq
    movl boot_magic(%rip), %edi
    movl boot_info(%rip), %esi
    callq metal_start
5:  hlt
    jmp 5b

.section .rodata.boot, "a"
.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff                    // 0x08: ring-0 code, 64-bit
    .quad 0x00cf93000000ffff                    // 0x10: ring-0 data
boot_gdt_end:
boot_gdt_pointer_low:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt - BASE
boot_gdt_pointer_high:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

.section .bss.boot, "aw", @nobits
.balign 4096
boot_l4:
    .skip 4096
boot_l3:
    .skip 4096
boot_l2:
    .skip 4 * 4096
.globl boot_stack
boot_stack:
    .skip {boot_stack_size}
boot_stack_top:
boot_magic:
    .skip 4
boot_info:
    .skip 4

// What the assembler is given next belongs to the text.
.text
