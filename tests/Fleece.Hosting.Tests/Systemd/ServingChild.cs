// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Fleece.Hosting.Systemd;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>A service in a process of its own.</summary>
/// <remarks>It answers one client after the other with a line: its process, where its listener came from, and what a child of it
/// inherited.</remarks>
internal static class ServingChild
{
    /// <summary>The first argument; the second is the socket's path.</summary>
    public const string Verb = "serve-listener";

    /// <summary>The command that starts it.</summary>
    public static string[] CommandFor(string path) => [.. Program, Verb, path];

    private static string[] Program => Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet"
        ? [Environment.ProcessPath!, typeof(ServingChild).Assembly.Location]
        : [Environment.ProcessPath!];

    /// <summary>Serves until it is killed.</summary>
    public static int Run(string path)
    {
        ServiceNotifier notifier = ServiceNotifier.Take();
        InheritedDescriptors inherited = InheritedDescriptors.Take();
        string origin = "bound";
        Socket listener;
        if (DescriptorNames.OfSocketFile(path) is { } name && (inherited.Claim(name) ?? inherited.Claim("activated")) is { } handle)
        {
            origin = "inherited";
            listener = new Socket(handle);
        }
        else
        {
            listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(new UnixDomainSocketEndPoint(path));
            listener.Listen();
            notifier.Store(DescriptorNames.OfSocketFile(path)!, listener.SafeHandle);
        }

        notifier.Ready("serves");
        while (true)
        {
            using Socket client = listener.Accept();
            string answer = string.Create(
                CultureInfo.InvariantCulture, $"{Environment.ProcessId} {origin} [{InChild("env")}] [{InChild("descriptors")}]\n");
            client.Send(Encoding.UTF8.GetBytes(answer));

            // One client at a time: the next one waits in the queue of the listener.
            client.Receive(new byte[1]);
        }
    }

    // Two children: one with .NET's copy of the environment, and one that would inherit the descriptor.
    private static string InChild(string question)
    {
        string script = question == "env"
            ? "env | grep -E '^(LISTEN_|NOTIFY_)' | tr '\\n' ' '"
            : "ls -l /proc/self/fd | grep -c 'socket:'";
        using Process child = Process.Start(
            new ProcessStartInfo("/bin/sh", ["-c", script])
            {
                RedirectStandardOutput = true,
                RedirectStandardInput = true,
                RedirectStandardError = true,
            })!;
        return child.StandardOutput.ReadToEnd().Trim();
    }
}
