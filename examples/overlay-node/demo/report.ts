/** What a demonstration says: each line is what was typed, what was answered, or what was expected. */
export class Report {
  #failed = false;

  get failed(): boolean {
    return this.#failed;
  }

  say(text: string): void {
    console.log(text);
  }

  typed(host: string, command: string): void {
    console.log(`\n${host}$ ${command}`);
  }

  expect(ok: boolean, text: string): void {
    console.log(`${ok ? ' ok ' : 'FAIL'}  ${text}`);
    if (!ok) this.#failed = true;
  }
}
