// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Fleece.Hosting.Auditing;

/// <summary>The system's journal, which gets the entries of the audit trail with fields of their own.</summary>
/// <remarks>The datagrams are those of systemd's "Native Journal Protocol": a field a line, "NAME=value", whose value has no line end.
/// <para>Threading. All members are safe from any thread. An entry that the journal does not take at once is dropped: the file has
/// it.</para></remarks>
internal sealed class AuditJournal : IDisposable
{
    /// <summary>Where the journal listens.</summary>
    public const string SocketPath = "/run/systemd/journal/socket";

    // syslog(3): informational.
    private const int Priority = 6;

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { Blocking = false };
    private readonly UnixDomainSocketEndPoint _journal;

    /// <summary>Takes the socket of a journal.</summary>
    public AuditJournal(string socketPath) => _journal = new UnixDomainSocketEndPoint(socketPath);

    /// <summary>The journal, where this process's log goes there (systemd.exec(5), JOURNAL_STREAM); null where it does not.</summary>
    public static AuditJournal? OfThisProcess() =>
        OperatingSystem.IsLinux() && !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("JOURNAL_STREAM")) && File.Exists(SocketPath)
            ? new AuditJournal(SocketPath)
            : null;

    /// <summary>Sends an entry.</summary>
    public void Send(AuditEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        StringBuilder text = new();
        Append(text, "MESSAGE", $"{entry.User}: {entry.Text}: {entry.Outcome.ToString().ToLowerInvariant()}");
        Append(text, "PRIORITY", Priority.ToString(CultureInfo.InvariantCulture));
        Append(text, "SYSLOG_IDENTIFIER", "fleece");
        Append(text, "FLEECE_ACTION", entry.Action);
        Append(text, "FLEECE_OUTCOME", entry.Outcome.ToString().ToLowerInvariant());
        Append(text, "FLEECE_USER", entry.User);
        Append(text, "FLEECE_USER_ID", entry.UserId.ToString(CultureInfo.InvariantCulture));
        Append(text, "FLEECE_PROCESS_ID", entry.ProcessId.ToString(CultureInfo.InvariantCulture));
        foreach (string target in entry.Targets)
        {
            Append(text, "FLEECE_TARGET", target);
        }

        if (entry.Error is { } error)
        {
            Append(text, "FLEECE_ERROR", error);
        }

        try
        {
            _socket.SendTo(Encoding.UTF8.GetBytes(text.ToString()), _journal);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Full, gone, or closed meanwhile.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private static void Append(StringBuilder text, string field, string value) =>
        text.Append(field).Append('=').Append(value.ReplaceLineEndings(" ")).Append('\n');
}
