// Operands by four neighbouring words, but for `x`, each of whose words may count for several.
alias Operand = vec4<u32>;
alias XOperand = u32;
