"""How fast is the server against other queues, each as its documentation recommends?"""
