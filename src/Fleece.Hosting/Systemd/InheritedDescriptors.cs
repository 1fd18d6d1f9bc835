// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net.Sockets;

namespace Fleece.Hosting.Systemd;

/// <summary>The listening sockets that systemd started this process with, by their names, as sd_listen_fds(3) describes them.</summary>
/// <remarks>
/// <para>Ownership. Each descriptor belongs to this object until <see cref="Claim"/> hands it out; <see cref="Dispose"/> closes the rest.
/// </para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class InheritedDescriptors : IDisposable
{
    // sd_listen_fds(3): SD_LISTEN_FDS_START.
    private const int First = 3;

    // The name that systemd gives where none was set.
    private const string Unnamed = "unknown";

    // LISTEN_PIDFDID tells newer systemd's processes apart (v259); the process id is enough here.
    private static readonly string[] Variables = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

    private readonly Lock _lock = new();
    private readonly Dictionary<string, SafeSocketHandle> _unclaimed;

    /// <summary>Takes over listening sockets by their names.</summary>
    internal InheritedDescriptors(Dictionary<string, SafeSocketHandle> descriptors) => _unclaimed = descriptors;

    /// <summary>Names of the descriptors that nothing has claimed.</summary>
    public IReadOnlyList<string> Unclaimed
    {
        get
        {
            lock (_lock)
            {
                return [.. _unclaimed.Keys];
            }
        }
    }

    /// <summary>Takes over the descriptors of this process, and the variables that announce them.</summary>
    /// <remarks>
    /// Called once, when the process starts; a second call finds none. The variables are taken out of the environment and the descriptors
    /// are kept from children, because a child must neither take them for its own nor hold a listener open. Descriptors that are meant for
    /// another process (LISTEN_PID) are left alone.
    /// </remarks>
    public static InheritedDescriptors Take()
    {
        string?[] values = Array.ConvertAll(Variables, Environment.GetEnvironmentVariable);
        if (!OperatingSystem.IsLinux() || values[0] is null)
        {
            return new InheritedDescriptors([]);
        }

        foreach (string variable in Variables)
        {
            Environment.SetEnvironmentVariable(variable, null);
            LinuxCalls.Unset(variable);
        }

        bool isMeant = int.TryParse(values[0], NumberStyles.None, CultureInfo.InvariantCulture, out int process) &&
            process == Environment.ProcessId;
        return isMeant && int.TryParse(values[1], NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            ? new InheritedDescriptors(Open(count, values[2]?.Split(':') ?? []))
            : new InheritedDescriptors([]);
    }

    /// <summary>Hands out the descriptor with a name, which the caller owns from then on; null where there is none.</summary>
    public SafeSocketHandle? Claim(string name)
    {
        lock (_lock)
        {
            return _unclaimed.Remove(name, out SafeSocketHandle? descriptor) ? descriptor : null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach (SafeSocketHandle descriptor in _unclaimed.Values)
            {
                descriptor.Dispose();
            }

            _unclaimed.Clear();
        }
    }

    // Whatever the count says, only sockets that listen are taken: no other descriptor of the process is closed by mistake.
    private static Dictionary<string, SafeSocketHandle> Open(int count, string[] names)
    {
        Dictionary<string, SafeSocketHandle> descriptors = new(StringComparer.Ordinal);
        for (int index = 0; index < count && LinuxCalls.TryCloseOnExec(First + index); index++)
        {
            if (!LinuxCalls.IsListening(First + index))
            {
                continue;
            }

            string name = index < names.Length && names[index].Length != 0 ? names[index] : Unnamed;
            SafeSocketHandle descriptor = new(First + index, ownsHandle: true);
            if (!descriptors.TryAdd(name, descriptor))
            {
                // Two sockets under one name: the service stores none so, and can't tell them apart.
                descriptor.Dispose();
            }
        }

        return descriptors;
    }
}
