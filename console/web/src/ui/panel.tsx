import type { ComponentChildren } from "preact";

interface PanelProps {
  readonly id: string;
  readonly title: string;
  /** What the panel shows, in one line beside its title. */
  readonly caption?: ComponentChildren;
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** A named region of the page. */
export function Panel({ id, title, caption, actions, children }: PanelProps) {
  return (
    <section class={`panel ${id}`} aria-labelledby={`${id}-title`} data-testid={`panel-${id}`}>
      <header class="panel-head">
        <h2 id={`${id}-title`}>{title}</h2>
        {caption !== undefined && <p class="caption">{caption}</p>}
        {actions !== undefined && <div class="actions">{actions}</div>}
      </header>
      {children}
    </section>
  );
}
