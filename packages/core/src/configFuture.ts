/**
 * Keys of the configuration that are read as they will be, and do nothing: a file stays right. Leaving them out loses
 * speed or comfort; nothing that would change what happens to mail may be among them.
 */
export const WITHOUT_EFFECT = ['redis', 'cache'] as const
