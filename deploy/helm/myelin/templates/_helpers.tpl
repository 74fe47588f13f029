{{- define "myelin.fullname" -}}
{{- if contains "myelin" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-myelin" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "myelin.selector" -}}
app.kubernetes.io/name: myelin
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "myelin.labels" -}}
{{ include "myelin.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* The listeners of the pods that store. The others find out from them. */ -}}
{{- define "myelin.peers" -}}
{{- $name := include "myelin.fullname" . -}}
{{- range $i := until (int .Values.replicas) }}
- {{ $name }}-{{ $i }}.{{ $name }}-nodes.{{ $.Release.Namespace }}.svc:8002
{{- end -}}
{{- end -}}

{{- /* What is asked of the values before anything is made of them. */ -}}
{{- define "myelin.check" -}}
{{- if not (has (int .Values.replicas) (list 1 3 5)) -}}
{{- fail "replicas: the pods that store are 1, 3 or 5; more pods that only serve are in more" -}}
{{- end -}}
{{- if and (not .Values.clusterTLS.secretName) (not .Values.clusterTLS.insecure) -}}
{{- fail "clusterTLS: name a Secret with tls.crt, tls.key and ca.crt in clusterTLS.secretName, or say clusterTLS.insecure=true where the pod network is private" -}}
{{- end -}}
{{- range $key := list "listen" "admin" "cluster" "engine" "node" -}}
{{- if hasKey $.Values.config $key -}}
{{- fail (printf "config.%s: this is the chart's business; leave it out" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A pod. It is given the root of the values and whether it stores. */ -}}
{{- define "myelin.pod" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $name := include "myelin.fullname" .root -}}
metadata:
  labels:
    {{- include "myelin.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ if .storage }}storage{{ else }}more{{ end }}
  annotations:
    checksum/config: {{ include "myelin.config" $root | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  # Kubernetes would add variables that begin with MYELIN_.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  # Two pods on one machine would fail together.
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: {{ if .storage }}DoNotSchedule{{ else }}ScheduleAnyway{{ end }}
      labelSelector:
        matchLabels:
          {{- include "myelin.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ if .storage }}storage{{ else }}more{{ end }}
  containers:
    - name: myelin
      image: "{{ $values.image.repository }}:{{ $values.image.tag | default $root.Chart.AppVersion }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [serve, --config, /etc/myelin/myelin.yaml]
      env:
        - name: MYELIN_NODE
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: MYELIN_CLUSTER__ADVERTISE
          value: "$(MYELIN_NODE).{{ $name }}-nodes.{{ $root.Release.Namespace }}.svc:8002"
        {{- if not .storage }}
        - name: MYELIN_CLUSTER__STORAGE
          value: "false"
        {{- end }}
      {{- with $values.secretName }}
      envFrom:
        - secretRef: {name: {{ . }}}
      {{- end }}
      ports:
        - {name: main, containerPort: 8000}
        - {name: admin, containerPort: 8001}
        - {name: nodes, containerPort: 8002}
      # A pod that waits for the others is alive and has not started. SIGTERM
      # makes it not ready, and it serves on for drain.grace, so there is no
      # need for a preStop hook.
      startupProbe:
        httpGet: {path: /health/startup, port: admin}
        periodSeconds: 2
        failureThreshold: {{ div (int $values.startupSeconds) 2 }}
      livenessProbe:
        httpGet: {path: /health/live, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /health/ready, port: admin}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: config, mountPath: /etc/myelin, readOnly: true}
        {{- if .storage }}
        - {name: data, mountPath: /data}
        {{- end }}
        {{- if $values.clusterTLS.secretName }}
        - {name: tls, mountPath: /etc/myelin-tls, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ $name }}}
    {{- with $values.clusterTLS.secretName }}
    - name: tls
      secret: {secretName: {{ . }}}
    {{- end }}
{{- end -}}

{{- /* The configuration file. */ -}}
{{- define "myelin.config" -}}
{{ toYaml .Values.config }}
listen: 0.0.0.0:8000
# For the kubelet and for metrics; the NetworkPolicy keeps others out.
admin: {listen: "0.0.0.0:8001"}
cluster:
  name: {{ include "myelin.fullname" . }}
  listen: 0.0.0.0:8002
  storage_nodes: {{ .Values.replicas }}
  peers:
    {{- include "myelin.peers" . | trim | nindent 4 }}
  {{- if .Values.clusterTLS.secretName }}
  tls: {cert_file: /etc/myelin-tls/tls.crt, key_file: /etc/myelin-tls/tls.key, ca_file: /etc/myelin-tls/ca.crt}
  {{- else }}
  insecure: true
  {{- end }}
engine:
  jetstream: {path: /data/jetstream}
{{- end -}}
