/** A published port, as the capability `portMappings` of the specification has it (CONVENTIONS.md). */
export interface PortMapping {
  hostPort: number;
  containerPort: number;
  protocol: 'tcp' | 'udp' | 'sctp';
  /** Absent: every address of the host. */
  hostIP?: string;
}
