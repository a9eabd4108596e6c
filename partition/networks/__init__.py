"""Where networks come from (built in, module:callable, archives, weights), and what identifies one."""
