/** Comments in the kernel are anybody's text: what a terminal would take as a command is shown as a mark. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '�');
}
