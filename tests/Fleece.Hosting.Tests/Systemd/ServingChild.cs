// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text;
using Fleece.Hosting.Systemd;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>A service in a process of its own: this assembly, started with <see cref="Variable"/> set to the path of a socket.</summary>
/// <remarks>It answers each client with one line: its process, where its listener came from, and what a child of it inherited.</remarks>
internal static class ServingChild
{
    /// <summary>Names the socket's path.</summary>
    public const string Variable = "FLEECE_TEST_SERVES";

    /// <summary>The command that starts it.</summary>
    public static string[] Command => Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet"
        ? [Environment.ProcessPath!, typeof(ServingChild).Assembly.Location]
        : [Environment.ProcessPath!];

#pragma warning disable CA2255 // The entry point is the test platform's, and this comes before it.
    [ModuleInitializer]
#pragma warning restore CA2255
    internal static void Serve()
    {
        if (Environment.GetEnvironmentVariable(Variable) is { } path)
        {
            Serve(path);
        }
    }

    private static void Serve(string path)
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
        }
    }

    // Two children: one with .NET's copy of the environment, and one that would inherit the descriptor.
    private static string InChild(string question)
    {
        string script = question == "env"
            ? "env | grep -E '^(LISTEN_|NOTIFY_)' | tr '\\n' ' '"
            : "ls -l /proc/self/fd | grep -c 'socket:'";
        using Process child = Process.Start(
            new ProcessStartInfo("/bin/sh", ["-c", script]) { RedirectStandardOutput = true, RedirectStandardInput = true, RedirectStandardError = true })!;
        return child.StandardOutput.ReadToEnd().Trim();
    }
}
