// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Nbd.Tests;

public sealed class NbdUriTests
{
    [Theory]
    [InlineData("nbd://store/vm", "store", 10809, "vm")]
    [InlineData("nbd://store:20000/", "store", 20000, "")]
    [InlineData("nbds://store", "store", 10809, "")]
    [InlineData("nbd://[::1]:7/vm/nightly", "::1", 7, "vm/nightly")]
    [InlineData("NBD://store/a%20b%2Fc", "store", 10809, "a b/c")]
    [InlineData("nbd://store//disk", "store", 10809, "/disk")]
    [InlineData("nbd://store/%2Fdisk", "store", 10809, "/disk")]
    [InlineData("nbd://store:7//", "store", 7, "/")]
    [InlineData("nbd://store/a/../b", "store", 10809, "a/../b")]
    public void Tcp_addresses_are_read(string text, string host, int port, string export)
    {
        NbdUri uri = NbdUri.Parse(text);

        Assert.Equal((host, port, export, false), (uri.Host, uri.Port, uri.ExportName, uri.IsUnix));
    }

    [Theory]
    [InlineData("nbd+unix:///?socket=/run/fleece/vm.sock", "/run/fleece/vm.sock", "", false)]
    [InlineData("nbds+unix:///vm/nightly?socket=/a%20b", "/a b", "vm/nightly", true)]
    [InlineData("nbd+unix:///vm?tls-hostname=store&socket=x", "x", "vm", false)]
    [InlineData("nbd+unix:////disk?socket=x", "x", "/disk", false)]
    [InlineData("nbd+unix://////?socket=x", "x", "///", false)]
    public void Unix_sockets_are_read(string text, string path, string export, bool isTls)
    {
        NbdUri uri = NbdUri.Parse(text);

        Assert.Equal((path, export, isTls), (uri.SocketPath, uri.ExportName, uri.IsTls));
    }

    [Theory]
    [InlineData("nbd://store/vm/a%20b%25")]
    [InlineData("nbd://store//vm")]
    [InlineData("nbd://store/../vm")]
    [InlineData("nbd+unix:////vm//a?socket=/s")]
    [InlineData("nbd://store/%1B%C2%9B")]
    [InlineData("nbds://[::1]:99/x")]
    [InlineData("nbd+unix:///vm?socket=/a/b%20c%3F")]
    [InlineData("nbds://store:1/")]
    [InlineData("nbds://10.0.0.1/vm?tls-hostname=store.example")]
    [InlineData("nbds+unix:///vm?socket=/s&tls-hostname=store.example")]
    public void What_is_written_is_read_back(string text)
    {
        NbdUri uri = NbdUri.Parse(text);

        Assert.Equal(uri, NbdUri.Parse(uri.ToString()));
    }

    [Theory]
    [InlineData("http://store/vm")]
    [InlineData("nbd+unix:///vm")]
    [InlineData("nbd+unix://host/vm?socket=/x")]
    [InlineData("nbd://store/vm?socket=/x")]
    [InlineData("nbd://store/vm?color=blue")]
    [InlineData("nbd://user@store/vm")]
    [InlineData("nbd+vsock://2/vm")]
    [InlineData("nbd://store:99999/vm")]
    [InlineData("nbd://store/a%00b")]
    [InlineData("nbd+unix:///vm?socket=")]
    public void What_is_no_address_is_refused(string text) =>
        Assert.Equal(NbdErrors.UriInvalid, Assert.Throws<BlockException>(() => NbdUri.Parse(text)).Kind);

    [Theory]
    [InlineData("nbd://x", true)]
    [InlineData("nbds+unix:///?socket=y", true)]
    [InlineData("./nbd/x", false)]
    [InlineData("C:\\disks\\vm.raw", false)]
    [InlineData("https://x", false)]
    public void Paths_are_told_from_addresses(string text, bool isUri) => Assert.Equal(isUri, NbdUri.IsUri(text));
}
