// How the types are used, with `fetch` and nothing else. `npm run check` compiles it.
import type { Interaction, InteractionPage, NewInteraction, Problem } from "./schema";

export async function save(url: string, key: string, interaction: NewInteraction): Promise<Interaction> {
  const response = await fetch(`${url}/api/v1/interactions/`, {
    method: "POST",
    headers: { Authorization: `Api-Key ${key}`, "Content-Type": "application/json" },
    body: JSON.stringify(interaction),
  });
  if (!response.ok) {
    const problem: Problem = await response.json();
    throw new Error(`${problem.status} ${problem.title}: ${problem.detail}`);
  }
  return response.json();
}

export function summary(page: InteractionPage): string[] {
  return page.results.map((one) => `${one.created_at} ${one.input_tokens + one.output_tokens}`);
}

const sound: NewInteraction = { user_id: "ada", message: "Hi", model_used: "model-1" };
// @ts-expect-error A message is required.
const incomplete: NewInteraction = { user_id: "ada", model_used: "model-1" };
// @ts-expect-error Tokens are numbers.
const mistyped: NewInteraction = { ...sound, input_tokens: "6" };
// @ts-expect-error There is no such field.
const unknown: NewInteraction = { ...sound, colour: "blue" };
export const examples = [sound, incomplete, mistyped, unknown];
