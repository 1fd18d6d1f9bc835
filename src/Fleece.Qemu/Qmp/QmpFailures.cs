// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Qemu.Qmp;

/// <summary>The errors of a monitor's connection, each with what to do next.</summary>
internal static class QmpFailures
{
    private const string SecondMonitor =
        "Or give the guest a monitor for Fleece: QEMU takes '-qmp unix:PATH,server=on,wait=off' more than once.";

    /// <summary>The peer does not speak QMP.</summary>
    public static BlockException NotQmp(string socketPath, string reason, Exception? cause = null) => new(
        QemuErrors.NotQmp,
        $"What listens at '{socketPath}' does not speak QMP: {reason}. Give the socket of QEMU's option -qmp (or -mon mode=control), not " +
        "that of its human monitor, of a guest agent or of an NBD server.",
        socketPath,
        operation: "connect",
        cause: cause);

    /// <summary>No monitor greeted.</summary>
    public static BlockException Busy(string socketPath, TimeSpan waited, Exception? cause = null) => new(
        QemuErrors.MonitorBusy,
        $"The monitor at '{socketPath}' takes connections and did not greet within {Seconds(waited)} seconds. It serves one client at a " +
        "time, and another one holds it: libvirt, a management program, or another Fleece command. End that client and try again. " +
        $"{SecondMonitor} A QEMU process that was stopped by a signal is silent too, and so is the socket of a guest's agent or " +
        "console.",
        socketPath,
        operation: "connect",
        cause: cause);

    /// <summary>A command got no answer in time.</summary>
    /// <param name="socketPath">The socket.</param>
    /// <param name="command">The command.</param>
    /// <param name="waited">How long it was waited for.</param>
    /// <param name="isAlive">Whether QEMU's monitor thread answered; null where it can't be asked.</param>
    public static BlockException Silent(string socketPath, string command, TimeSpan waited, bool? isAlive)
    {
        string reason = isAlive switch
        {
            true => "Its monitor thread answers, so QEMU lives and its main loop is busy: mostly with storage that does not answer. See " +
                "the storage of the guest's disks",
            false => "Its monitor thread is silent too, so the whole process stands still: it was stopped by a signal, or it hangs. See " +
                "the process",
            null => "Its main loop may be busy with storage that does not answer. See the process and the storage of the guest's disks",
        };
        return new BlockException(
            QemuErrors.MonitorBusy,
            $"QEMU at '{socketPath}' did not answer '{command}' within {Seconds(waited)} seconds, and may still run it. {reason}; then " +
            "try again.",
            socketPath,
            operation: command);
    }

    /// <summary>The connection ended.</summary>
    /// <param name="socketPath">The socket.</param>
    /// <param name="operation">What was going on.</param>
    /// <param name="shutdownReason">What QEMU said before it ended; null for nothing.</param>
    /// <param name="cause">The exception beneath.</param>
    public static BlockException Gone(string socketPath, string operation, string? shutdownReason, Exception? cause = null) => new(
        QemuErrors.QemuGone,
        $"QEMU at '{socketPath}' ended, or closed its monitor, during '{operation}'" +
        (shutdownReason is null ? string.Empty : $"; it said that it shuts down ({shutdownReason})") +
        ". See the guest's log, and whether it runs.",
        socketPath,
        operation: operation,
        cause: cause);

    /// <summary>The connection was given up by its owner.</summary>
    public static BlockException Closed(string socketPath, string reason) => new(
        BlockErrors.Closed, $"The connection to the monitor at '{socketPath}' is closed: {reason}. Connect again.", socketPath);

    /// <summary>The path can't be a socket's.</summary>
    public static BlockException PathUnusable(string socketPath, ArgumentException cause) => new(
        BlockErrors.InvalidArgument,
        // sun_path of unix(7): 108 bytes on Linux with the zero at the end, 104 on macOS.
        $"'{socketPath}' can't be the path of a socket: it is empty, or longer than the some 100 bytes that the system takes. A symbolic " +
        "link with a shorter path will do.",
        socketPath,
        operation: "connect",
        cause: cause);

    /// <summary>The system did not connect.</summary>
    public static BlockException From(string socketPath, SocketException cause) => cause.SocketErrorCode switch
    {
        SocketError.AccessDenied => new BlockException(
            BlockErrors.PermissionDenied,
            $"This user may not connect to '{socketPath}': the system refuses access. Run as root or as the user of QEMU, or have the " +
            "socket's owner grant write permission to it and search permission on its folder.",
            socketPath,
            operation: "connect",
            cause: cause),
        _ when Directory.Exists(socketPath) => NotQmp(socketPath, "it is a folder", cause),
        SocketError.ConnectionRefused when PosixStat.TryLookHere(socketPath, out PosixStat.FileLook look) && !look.IsSocket =>
            NotQmp(socketPath, "it is no socket", cause),
        SocketError.ConnectionRefused => NotRunning(socketPath, "the socket's file is there, and no process listens at it", cause),
        SocketError.ProtocolType => NotQmp(socketPath, "it is a socket of another type", cause),
        _ => NotRunning(
            socketPath, Path.Exists(socketPath) ? cause.Message.TrimEnd('.') : "there is no such file", cause),
    };

    private static BlockException NotRunning(string socketPath, string reason, Exception cause) => new(
        QemuErrors.QemuNotRunning,
        $"No QEMU listens at '{socketPath}': {reason}. Start the guest, or give the path of its option -qmp.",
        socketPath,
        operation: "connect",
        cause: cause);

    private static string Seconds(TimeSpan time) => time.TotalSeconds.ToString("0.#", CultureInfo.InvariantCulture);
}
