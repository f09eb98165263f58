// Operands by four neighbouring words: limbs and their offsets are multiples of sixteen.
alias Operand = vec4<u32>;
alias XOperand = vec4<u32>;
