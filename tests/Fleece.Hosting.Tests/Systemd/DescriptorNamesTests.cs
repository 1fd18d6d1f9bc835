// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Hosting.Installing;
using Fleece.Hosting.Systemd;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Systemd;

public sealed class DescriptorNamesTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public DescriptorNamesTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "systemd is on Linux");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_name_of_a_socket_stays_and_is_one_that_systemd_takes()
    {
        string path = _folder.File("größe: \"vm\".sock");
        using Socket listener = Listen(path);

        string? name = DescriptorNames.OfSocketFile(path);

        Assert.NotNull(name);
        DescriptorNames.Check(name);
        Assert.Equal(name, DescriptorNames.OfSocketFile(path));
    }

    [Fact]
    public void Another_file_at_the_path_has_another_name()
    {
        using Socket first = Listen(_folder.File("a"));
        string? name = DescriptorNames.OfSocketFile(_folder.File("a"));
        File.Move(_folder.File("a"), _folder.File("moved"));
        using Socket second = Listen(_folder.File("a"));

        Assert.NotEqual(name, DescriptorNames.OfSocketFile(_folder.File("a")));
    }

    [Fact]
    public void A_path_with_nothing_at_it_has_none() => Assert.Null(DescriptorNames.OfSocketFile(_folder.File("none")));

    [Fact]
    public void Ports_and_addresses_have_names_of_their_own()
    {
        string[] names =
        [
            DescriptorNames.OfPort("127.0.0.1", 10809), DescriptorNames.OfPort("127.0.0.1", 10810), DescriptorNames.OfPort("::1", 10809),
        ];

        Assert.Equal(3, names.Distinct().Count());
        Assert.All(names, DescriptorNames.Check);
    }

    // execve(2): one string of the environment has at most 128 KiB, and LISTEN_FDNAMES= holds the names of all.
    [Fact]
    public void All_names_of_a_full_store_fit_into_the_environment() =>
        Assert.InRange((DescriptorNames.OfPort("::1", 1).Length + 2) * HostUnit.StoredDescriptors, 1, 100 * 1024);

    private static Socket Listen(string path)
    {
        Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        return listener;
    }
}
