// The page where a token is traded for a session.
import { useState } from "preact/hooks";
import { ApiError } from "../api/client";
import { Field } from "../parts/dialog";
import { signIn, wasSignedIn } from "../store/role";
import { texts } from "../texts";

export function Login() {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [pending, setPending] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setPending(true);
    try {
      await signIn(token.trim());
    } catch (error) {
      const wrong = error instanceof ApiError && (error.kind === "login" || error.kind === "forbidden");
      setProblem(wrong ? texts.login.wrong : String((error as Error).message));
    }
    setPending(false);
  };
  return (
    <main class="login">
      <form onSubmit={(event) => void submit(event)}>
        <h1>{texts.title}</h1>
        {wasSignedIn() && <p role="status">{texts.login.ended}</p>}
        <p class="muted">{texts.login.hint}</p>
        <Field label={texts.login.token} type="password" value={token} onInput={setToken} problem={problem} disabled={pending} />
        <button type="submit" class="button main" disabled={pending || token.trim() === ""}>{texts.login.go}</button>
      </form>
    </main>
  );
}
