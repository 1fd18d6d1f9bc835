// SPDX-License-Identifier: MIT
using System.ComponentModel;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Fleece.Block;

namespace Fleece.Hosting.Systemd;

/// <summary>Tells systemd how the service does, as sd_notify(3) describes it.</summary>
/// <remarks>
/// <para>Each message is one datagram to the socket that NOTIFY_SOCKET names. Without that variable, as in a shell, all calls do nothing.
/// There is no RELOADING=1, because the host reads its state once. There is no WATCHDOG=1 either: storage that does not answer for a
/// minute is no reason to kill the process that holds the guests' writes.</para>
/// <para>Threading. All members are safe from any thread. A call waits while systemd's queue is full. Errors. <see cref="BlockException"/>,
/// IoFailed, where the message could not be sent.</para>
/// </remarks>
internal sealed class ServiceNotifier
{
    private const string Variable = "NOTIFY_SOCKET";

    private readonly string? _address;

    /// <summary>Makes a notifier for the address in NOTIFY_SOCKET; null for one that does nothing.</summary>
    /// <exception cref="BlockException">InvalidArgument: it is neither an absolute path nor an abstract socket.</exception>
    public ServiceNotifier(string? address)
    {
        if (!string.IsNullOrEmpty(address) && address[0] is not ('/' or '@'))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"{Variable} is '{address}', and the host can notify sockets by their path and abstract ones ('@...'). Unset the " +
                "variable, or run the host as a service of the system.");
        }

        _address = string.IsNullOrEmpty(address) ? null : address;
    }

    /// <summary>True when a service manager listens.</summary>
    public bool IsActive => _address is not null;

    /// <summary>The notifier of this process. The variable is gone afterwards, so that no child notifies in the host's place.</summary>
    /// <remarks>Called once, when the process starts; a second call gets one that does nothing.</remarks>
    public static ServiceNotifier Take()
    {
        if (!OperatingSystem.IsLinux())
        {
            return new ServiceNotifier(null);
        }

        string? address = Environment.GetEnvironmentVariable(Variable);
        Environment.SetEnvironmentVariable(Variable, null);
        LinuxCalls.Unset(Variable);
        return new ServiceNotifier(address);
    }

    /// <summary>The service is ready: each disk is served, or has failed once.</summary>
    public void Ready(string status) => Send($"READY=1\nSTATUS={OneLine(status)}");

    /// <summary>The line that "systemctl status" shows.</summary>
    public void Status(string status) => Send($"STATUS={OneLine(status)}");

    /// <summary>The service has begun to end.</summary>
    public void Stopping(string status) => Send($"STOPPING=1\nSTATUS={OneLine(status)}");

    /// <summary>Gives systemd a copy of a descriptor, which the next process of the service gets under the name.</summary>
    /// <remarks>systemd says nothing where it takes no more (FileDescriptorStoreMax=), and closes one that has hung up.</remarks>
    /// <param name="name">A name as <see cref="DescriptorNames"/> makes them.</param>
    /// <param name="descriptor">Still the caller's afterwards.</param>
    public void Store(string name, SafeHandle descriptor)
    {
        DescriptorNames.Check(name);
        Send($"FDSTORE=1\nFDNAME={name}", descriptor);
    }

    /// <summary>Lets systemd close its copies of the descriptors with the name.</summary>
    public void Remove(string name)
    {
        DescriptorNames.Check(name);
        Send($"FDSTOREREMOVE=1\nFDNAME={name}");
    }

    // A line break would begin another assignment.
    private static string OneLine(string text) => PrintableText.Of(text);

    private void Send(string message, SafeHandle? descriptor = null)
    {
        if (_address is null)
        {
            return;
        }

        try
        {
            // A socket for each message: they are rare, and the manager's own may be another one after it was restarted.
            using Socket socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            socket.Connect(new UnixDomainSocketEndPoint(_address[0] == '@' ? '\0' + _address[1..] : _address));
            int errno = LinuxCalls.Send(socket.SafeHandle, Encoding.UTF8.GetBytes(message), descriptor);
            if (errno != 0)
            {
                throw new Win32Exception(errno);
            }
        }
        catch (Exception e) when (e is SocketException or Win32Exception or ArgumentOutOfRangeException)
        {
            throw new BlockException(
                BlockErrors.IoFailed,
                $"systemd can't be told '{message.Split('\n')[0]}' at '{_address}': {e.Message}. It waits for the service's messages.",
                operation: "notify",
                cause: e);
        }
    }
}
