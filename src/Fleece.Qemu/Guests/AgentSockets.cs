// SPDX-License-Identifier: MIT
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Guests;

/// <summary>Where QEMU has a socket for the guest's agent.</summary>
internal static class AgentSockets
{
    // The port's name by which the agent finds it: QEMU's "QEMU Guest Agent" documentation.
    private const string PortName = "org.qemu.guest_agent.0";
    private const string Disconnected = "disconnected:";
    private const string Unix = "unix:";

    private static readonly string[] Places = ["/machine/peripheral", "/machine/peripheral-anon"];

    /// <summary>The socket of the agent's port; null where the guest has no such port, or one that is no socket with an absolute path.
    /// </summary>
    public static async ValueTask<string?> FindAsync(QemuMonitor monitor, CancellationToken cancellationToken)
    {
        foreach (string place in Places)
        {
            foreach (string port in await QomProperties
                .ListAsync(monitor, place, "virtserialport", cancellationToken).ConfigureAwait(false))
            {
                string path = $"{place}/{port}";
                if (await QomProperties.FindTextAsync(monitor, path, "name", cancellationToken).ConfigureAwait(false) == PortName &&
                    await QomProperties.FindTextAsync(monitor, path, "chardev", cancellationToken).ConfigureAwait(false) is { } label)
                {
                    return (await monitor.QueryChardevsAsync(cancellationToken).ConfigureAwait(false))
                        .Where(device => device.Label == label).Select(device => PathOf(device.Filename)).FirstOrDefault();
                }
            }
        }

        return null;
    }

    /// <summary>The path in QEMU's description of a socket, for example "disconnected:unix:/run/vm/qga.sock,server=on".</summary>
    public static string? PathOf(string filename)
    {
        string text = filename.StartsWith(Disconnected, StringComparison.Ordinal) ? filename[Disconnected.Length..] : filename;
        if (!text.StartsWith(Unix, StringComparison.Ordinal))
        {
            return null;
        }

        int end = text.LastIndexOf(",server", StringComparison.Ordinal);
        string path = end < 0 ? text[Unix.Length..] : text[Unix.Length..end];
        return path.StartsWith('/') ? path : null;
    }
}
